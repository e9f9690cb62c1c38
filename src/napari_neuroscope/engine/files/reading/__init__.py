"""Files of strangers are read through these: regular, bounded, and inside of their own folder.

`bounded_file` opens files and refuses pipes and devices; `bounded_zip`, `plain_data`, `plain_xml` and
`safetensors_header` read what is in them within the `limits`; `decoded_size`, `unpacked_size` and
`picture_size` know how large a thing becomes before it is unpacked; `inside_folder` lets nothing lead out.
A reader of another format is a file here, with its limits in `files/limits.py` and a hostile case in tests.
"""
