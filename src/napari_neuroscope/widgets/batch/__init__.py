"""The dock “Batch”: a recipe over many images, in processes of their own.

`form.py` asks for a recipe, images and a folder; `inputs.py` looks at what lies there, and
`recipe_choice.py` makes a recipe of what is chosen in the inspector. `process.py` runs the batch of
`engine.batch` apart from the window, `batch_table.py` lists the images with what becomes of them,
`words.py` says it, and `questions.py` asks what a batch needs to begin. `dock.py` brings them
together. What a batch is to be told besides is a field of the form and of `BatchForm.asked`.
"""
