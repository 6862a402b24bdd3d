;; fd_write with a vector whose data lies beyond the end of memory: the host must not
;; read there. Exits with the errno that it got (EFAULT is 21), if the host does not
;; trap instead.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 0xffff0000))
    (i32.store (i32.const 4) (i32.const 16))
    (call $proc_exit
      (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
