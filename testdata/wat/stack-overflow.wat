;; Recurses without end: a trap named as what it is, with a backtrace of bounded
;; length.
(module
  (memory (export "memory") 1)
  (func $recurse (param $depth i32) (result i32)
    ;; The addition keeps this from being a tail call.
    (i32.add (call $recurse (i32.add (local.get $depth) (i32.const 1))) (i32.const 1)))
  (func (export "_start") (drop (call $recurse (i32.const 0)))))
