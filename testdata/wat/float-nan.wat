;; Makes NaNs in ways for which wasm leaves sign and payload to the engine, and prints
;; their bits, one a line: first six of f32, then five of f64. A replay on another
;; machine prints the same only if NaNs are canonical; then each line is 7fc00000 or
;; 7ff8000000000000.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "0123456789abcdef")

  ;; Read from memory, so that nothing is computed when the module is compiled.
  (data (i32.const 128) "\00\00\00\00")         ;; 0 as f32
  (data (i32.const 132) "\00\00\80\7f")         ;; infinity as f32
  (data (i32.const 136) "\00\00\80\bf")         ;; -1 as f32
  (data (i32.const 140) "\34\12\c0\ff")         ;; a negative quiet NaN with a payload
  (data (i32.const 144) "\34\12\80\7f")         ;; a signalling NaN with a payload
  (data (i32.const 160) "\00\00\00\00\00\00\00\00")
  (data (i32.const 168) "\00\00\00\00\00\00\f0\7f")
  (data (i32.const 176) "\00\00\00\00\00\00\f0\bf")
  (data (i32.const 184) "\34\12\00\00\00\00\f8\ff")

  (func $write_hex (param $bits i64) (param $digits i32)
    (local $digit i32)
    (local.set $digit (local.get $digits))
    (loop $next
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (i32.store8
        (i32.add (i32.const 96) (local.get $digit))
        (i32.load8_u
          (i32.add (i32.const 64) (i32.and (i32.wrap_i64 (local.get $bits)) (i32.const 15)))))
      (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
      (br_if $next (local.get $digit)))
    (i32.store8 (i32.add (i32.const 96) (local.get $digits)) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 96))
    (i32.store (i32.const 4) (i32.add (local.get $digits) (i32.const 1)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func $write_f32 (param $value f32)
    (call $write_hex (i64.extend_i32_u (i32.reinterpret_f32 (local.get $value))) (i32.const 8)))
  (func $write_f64 (param $value f64)
    (call $write_hex (i64.reinterpret_f64 (local.get $value)) (i32.const 16)))

  (func (export "_start")
    (call $write_f32 (f32.div (f32.load (i32.const 128)) (f32.load (i32.const 128))))
    (call $write_f32 (f32.sub (f32.load (i32.const 132)) (f32.load (i32.const 132))))
    (call $write_f32 (f32.sqrt (f32.load (i32.const 136))))
    (call $write_f32 (f32.add (f32.load (i32.const 140)) (f32.load (i32.const 136))))
    (call $write_f32 (f32.mul (f32.load (i32.const 136)) (f32.load (i32.const 144))))
    (call $write_f32 (f32.min (f32.load (i32.const 144)) (f32.load (i32.const 140))))
    (call $write_f64 (f64.div (f64.load (i32.const 160)) (f64.load (i32.const 160))))
    (call $write_f64 (f64.sub (f64.load (i32.const 168)) (f64.load (i32.const 168))))
    (call $write_f64 (f64.sqrt (f64.load (i32.const 176))))
    (call $write_f64 (f64.add (f64.load (i32.const 184)) (f64.load (i32.const 176))))
    (call $write_f64 (f64.promote_f32 (f32.load (i32.const 140))))))
