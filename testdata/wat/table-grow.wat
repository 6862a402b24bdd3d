;; Grows a table and a memory to their maximum and past it. Growing past it must give
;; -1 to the guest and not trap, and a replay must give the same. Prints what each
;; call returned: "table 1", "table -1", "memory 1", "memory -1".
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (table $table 1 2 funcref)
  (memory (export "memory") 1 2)
  (data (i32.const 64) "table ")
  (data (i32.const 80) "memory ")
  (data (i32.const 96) "-1\n")
  (data (i32.const 112) "1\n")
  (data (i32.const 128) "something else\n")

  (func $print (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; Only two results are ever right, so there is no need to print numbers.
  (func $print_result (param $result i32)
    (if (i32.eq (local.get $result) (i32.const -1))
      (then (call $print (i32.const 96) (i32.const 3)))
      (else
        (if (i32.eq (local.get $result) (i32.const 1))
          (then (call $print (i32.const 112) (i32.const 2)))
          (else (call $print (i32.const 128) (i32.const 15)))))))

  (func $grow_table (export "grow_table") (result i32)
    (table.grow $table (ref.null func) (i32.const 1)))
  (func $grow_memory (export "grow_memory") (result i32)
    (memory.grow (i32.const 1)))

  (func (export "_start")
    (call $print (i32.const 64) (i32.const 6))
    (call $print_result (call $grow_table))
    (call $print (i32.const 64) (i32.const 6))
    (call $print_result (call $grow_table))
    (call $print (i32.const 80) (i32.const 7))
    (call $print_result (call $grow_memory))
    (call $print (i32.const 80) (i32.const 7))
    (call $print_result (call $grow_memory))))
