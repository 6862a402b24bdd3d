;; A component of the component model, with a command's core module in it. timecraft
;; runs core modules only and must say so, rather than fail to parse it.
(component
  (core module
    (func (export "_start"))))
