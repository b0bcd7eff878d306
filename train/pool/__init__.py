"""A pool of freely licensed audio: from a table of packages, synthesisers and recordings to short clips.

The way of a clip: a row of the table (`table`) names files of a package (`sources`, `deb`, `containers`) or
a step of synthesis (`synthesis`). Licences of files are read (`licences`), and files are decoded and cut
(`cutting`) into one part for each package (`parts`). Parts are joined to a bank (`bank`).
``python -m train.pool`` runs all steps.
"""
