"""Parts that docks share: none of them knows a dock.

`dock` is what each dock is: a viewer, a session, work beside the window, and a clean end. `form`,
`boxes`, `pickers`, `path_list` and `table_model` are what is filled in and looked through; `labels`
and `sentences` keep words of a file plain; `dialogs`, `trust_dialog`, `save_dialog` and
`open_network` ask; `jobs/` is work that takes long, and `progress` shows it. They stand on the
session. What a second dock needs comes here.
"""
