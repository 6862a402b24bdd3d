;; A shared memory and an atomic instruction, of the threads proposal. Several threads
;; cannot be replayed from a log of host calls, so this must be refused, although it
;; imports nothing and starts no thread.
(module
  (memory (export "memory") 1 1 shared)
  (func (export "_start")
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))
