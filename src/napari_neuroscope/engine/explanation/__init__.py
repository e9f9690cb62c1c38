"""What is asked and what an answer is: its values, where they lie, how they were made, how it is shown.

`Request` is what is asked, `Explanation` the answer, `Record` how it was made; `record_json` writes and reads it
in files, and `recipe_document` what makes it again. `overlays/` makes layers of it as plain data. A field that
a record is to have belongs to `Record`; what only a file needs belongs to `results/`.
"""
