"""The harvest of an archive: ask what there is, choose a file of each item, download it politely, keep it by its content.

What is in the files belongs beside this folder, how any file is downloaded in assets/downloads.
"""
