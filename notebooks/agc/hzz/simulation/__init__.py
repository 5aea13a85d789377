"""The simulated stand-in for the HZZ task's inputs: events, detector, files.

Simulated by the Casa project with Pythia 8 and a parametric detector; **these are not
ATLAS data and not ATLAS simulation**. They have the branches of the tree ``mini`` of
ATLAS Open Data that the task reads, in its units, so that the notebook runs without a
network.

`recipes` says what is generated, `z_to_four_leptons` has the decay that Pythia lacks,
`leptons` is the detector, `events` makes the columns. ``python -m agc.hzz.simulation``
makes the files that ship in ``notebooks/inputs/hzz``; batches, seeds, files and
manifest are those of `agc.simulation`.

Notes
-----
Known differences from the public samples: no Z+jets and no ttbar (one event in a
million is selected, too few to simulate here), so no non-prompt leptons; no ZH; leading
order with a parton shower; singly and doubly resonant four-lepton production without
their interference; no tau leptons; no pile-up, no hadrons, no isolation; all scale
factors are one.
"""
