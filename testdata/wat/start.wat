;; A start section that calls the host: the engine runs it while it instantiates the
;; module, before anyone calls _start. Its calls must be recorded like all others.
;; Prints "start section", then "_start".
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "start section\n")
  (data (i32.const 96) "_start\n")

  (func $print (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func $initialize (call $print (i32.const 64) (i32.const 14)))
  (start $initialize)

  (func (export "_start") (call $print (i32.const 96) (i32.const 7))))
