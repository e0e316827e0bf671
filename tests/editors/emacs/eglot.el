;; Emacs as a person sets it up for codellama-ls (editor_clients/README.md), doing one thing and printing the buffer.
;; emacs --batch -l eglot.el PYTHON FILE TASK
(package-initialize)
(require 'eglot)
(setq eglot-sync-connect 60 eglot-confirm-server-initiated-edits nil)
(pcase-let ((`(,python ,file ,task) command-line-args-left))
  (setq command-line-args-left nil)
  (add-to-list 'eglot-server-programs
               `(python-mode . (,python "-m" "lsp_server" "--stdio"
                                        :initializationOptions (:completion (:minConfidence 0 :prefetch :json-false)))))
  (find-file file)
  (call-interactively #'eglot)
  (let ((before (buffer-string))
        (until (time-add nil 60)))
    (cl-flet ((wait () (while (and (equal before (buffer-string)) (time-less-p nil until))
                         (accept-process-output nil 0.05))))
      (pcase task
        ("complete"
         (goto-char (point-min))
         (end-of-line)
         ;; the engine may not have been found yet: the list is empty until then
         (while (and (equal before (buffer-string)) (time-less-p nil until))
           (completion-at-point)
           (accept-process-output nil 0.2)))
        (title
         (goto-char (point-min))
         (let ((last-nonmenu-event ?x))
           (cl-letf (((symbol-function 'completing-read) (lambda (&rest _) title)))
             (while (and (equal before (buffer-string)) (time-less-p nil until))
               (eglot-code-actions (point) nil nil t)
               (let ((until (time-add nil 3))) (wait))))))))
    (princ (concat "\n<<<" (buffer-string) ">>>\n")))
  (set-buffer-modified-p nil)
  (kill-emacs 0))
