"""The AGC HZZ task: H -> ZZ* -> 4 leptons in ATLAS Open Data.

One module each: `samples` (what there is, cross-sections, what is fitted), `files`
(where to read it), `columns` (reading, units), `processor` (selection, mass, cut flow,
control regions), `reducible` (the background from those) and `tables`. `agc.standin`
makes the stand-in that ships with the notebooks.
"""
