"""The AGC HZZ task: H -> ZZ* -> 4 leptons in ATLAS Open Data.

One module each: `samples` (what there is, cross-sections, weights), `files` (where to
read it), `columns` (reading, units), `selection`, `variations`, `histograms`, `runs`
(from files to histograms), `workspace` and `fits` (the statistical model), `plots` and
`tables`. `agc.standin` makes the stand-in that ships with the notebooks.
"""
