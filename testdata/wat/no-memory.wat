;; Calls fd_write without exporting the memory that its arguments point into (there is
;; one, but the host cannot find it): an error that names the missing export, and not
;; a crash of the host.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory 1)
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
