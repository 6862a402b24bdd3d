;; Files by direct calls, so that which calls are made, and on which descriptors, is
;; written here: /data is preopened as 3, /ro as 4 and read-only. A directory is opened
;; and a file relative to it; 20000 writes; a seek and a read; appends to another file,
;; which takes the first one's number; renames, links, removals; things that do not
;; exist, that are not granted, and that lead out. It ends with a file still open; with
;; an argument it says hello first and reads standard input to its end. Traps where a
;; call returns what it must not.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory"
    (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $truncate (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber"
    (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek"
    (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "./sub/")
  (data (i32.const 72) "a")
  (data (i32.const 80) "log")
  (data (i32.const 84) "b")
  (data (i32.const 88) "nothing")
  (data (i32.const 96) "../etc")
  (data (i32.const 104) "hello ")
  (data (i32.const 112) "link")

  (func $must (param $errno i32) (param $expected i32)
    (if (i32.ne (local.get $errno) (local.get $expected)) (then unreachable)))

  ;; Opens, which must return this, and gives the descriptor.
  (func $open (param $dir i32) (param $path i32) (param $size i32) (param $oflags i32)
              (param $rights i64) (param $fdflags i32) (param $expected i32) (result i32)
    (call $must
      (call $path_open (local.get $dir) (i32.const 1) (local.get $path) (local.get $size)
        (local.get $oflags) (local.get $rights) (i64.const 0) (local.get $fdflags) (i32.const 16))
      (local.get $expected))
    (i32.load (i32.const 16)))

  (func $write (param $fd i32)
    (i32.store (i32.const 0) (i32.const 104))
    (i32.store (i32.const 4) (i32.const 6))
    (call $must (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16))
      (i32.const 0)))

  ;; Reads 5 bytes into two places, and gives how many there were.
  (func $read (param $fd i32) (result i32)
    (i32.store (i32.const 0) (i32.const 256))
    (i32.store (i32.const 4) (i32.const 2))
    (i32.store (i32.const 8) (i32.const 512))
    (i32.store (i32.const 12) (i32.const 3))
    (call $must (call $fd_read (local.get $fd) (i32.const 0) (i32.const 2) (i32.const 16))
      (i32.const 0))
    (i32.load (i32.const 16)))

  (func (export "_start")
    (local $sub i32) (local $a i32) (local $log i32) (local $i i32)
    (call $must (call $mkdir (i32.const 3) (i32.const 66) (i32.const 3)) (i32.const 0))
    ;; A directory, for reading; then a file in it, made, for both.
    (local.set $sub (call $open (i32.const 3) (i32.const 64) (i32.const 6) (i32.const 2)
      (i64.const 2) (i32.const 0) (i32.const 0)))
    (local.set $a (call $open (local.get $sub) (i32.const 72) (i32.const 1) (i32.const 9)
      (i64.const 66) (i32.const 0) (i32.const 0)))
    (loop $more
      (call $write (local.get $a))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 20000))))
    (call $must (call $seek (local.get $a) (i64.const 6) (i32.const 0) (i32.const 24)) (i32.const 0))
    (drop (call $read (local.get $a)))
    (drop (call $read (local.get $a)))

    (local.set $log (call $open (i32.const 3) (i32.const 80) (i32.const 3) (i32.const 1)
      (i64.const 66) (i32.const 1) (i32.const 0)))
    (call $write (local.get $log))
    (call $must (call $renumber (local.get $log) (local.get $a)) (i32.const 0))
    (call $write (local.get $a))
    (call $must (call $truncate (local.get $a) (i64.const 3)) (i32.const 0))

    (call $must (call $rename (local.get $sub) (i32.const 72) (i32.const 1)
      (i32.const 3) (i32.const 84) (i32.const 1)) (i32.const 0))
    (call $must (call $symlink (i32.const 84) (i32.const 1)
      (i32.const 3) (i32.const 112) (i32.const 4)) (i32.const 0))
    ;; There is none: ENOENT.
    (call $must (call $unlink (local.get $sub) (i32.const 88) (i32.const 7)) (i32.const 44))
    (call $must (call $stat (i32.const 3) (i32.const 1) (i32.const 88) (i32.const 7)
      (i32.const 1024)) (i32.const 44))
    ;; Not granted: EPERM.
    (drop (call $open (i32.const 4) (i32.const 72) (i32.const 1) (i32.const 1)
      (i64.const 66) (i32.const 0) (i32.const 63)))
    (call $must (call $mkdir (i32.const 4) (i32.const 66) (i32.const 3)) (i32.const 63))
    (drop (call $open (i32.const 3) (i32.const 96) (i32.const 6) (i32.const 2)
      (i64.const 2) (i32.const 0) (i32.const 63)))
    (call $must (call $unlink (i32.const 3) (i32.const 84) (i32.const 1)) (i32.const 0))
    (call $must (call $rmdir (i32.const 3) (i32.const 66) (i32.const 3)) (i32.const 0))
    (call $must (call $close (local.get $sub)) (i32.const 0))
    ;; That is closed: EBADF.
    (call $must (call $close (local.get $sub)) (i32.const 8))
    (call $must (call $stat (local.get $sub) (i32.const 0) (i32.const 72) (i32.const 1)
      (i32.const 1024)) (i32.const 8))

    (call $must (call $args_sizes (i32.const 16) (i32.const 24)) (i32.const 0))
    (if (i32.eq (i32.load (i32.const 16)) (i32.const 1)) (then return))
    (call $write (i32.const 1))
    (loop $input
      (br_if $input (call $read (i32.const 0))))))
