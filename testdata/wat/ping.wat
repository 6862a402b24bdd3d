;; Says "ping" on the socket that it starts with, reads to the end of what comes back, and closes it.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\05\00\00\00")
  (data (i32.const 64) "ping\n")
  (func $must (param $errno i32)
    (if (local.get $errno) (then unreachable)))
  (func (export "_start")
    ;; It is found non-blocking.
    (call $must (call $flags (i32.const 3) (i32.const 0)))
    (call $must (call $write (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop $more
      (call $must (call $read (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $more (i32.load (i32.const 8))))
    (call $must (call $close (i32.const 3)))))
