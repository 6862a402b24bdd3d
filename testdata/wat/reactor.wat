;; A reactor: no _start, but _initialize, which must run once and first, and an entry
;; function that the user names. Prints "initialized", then "run" for each call of
;; run; run without _initialize traps.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "initialized\n")
  (data (i32.const 96) "run\n")
  (global $initialized (mut i32) (i32.const 0))

  (func $print (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_initialize")
    (if (global.get $initialized) (then unreachable))
    (global.set $initialized (i32.const 1))
    (call $print (i32.const 64) (i32.const 12)))

  (func (export "run")
    (if (i32.eqz (global.get $initialized)) (then unreachable))
    (call $print (i32.const 96) (i32.const 4))))
