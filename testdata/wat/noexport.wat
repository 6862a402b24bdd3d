;; Exports neither _start nor _initialize, only a function of another name: there is
;; nothing to run, unless the user names it.
(module
  (memory (export "memory") 1)
  (func (export "something")))
