;; Imports a function that no host has: must be refused before the guest runs, with
;; the import's name in the message.
(module
  (import "env" "nope" (func $nope (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $nope (i32.const 1)))))
