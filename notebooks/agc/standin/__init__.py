"""The simulated stand-in for the inputs of the ttbar and the HZZ task.

Simulated by the Casa project with Pythia 8 and a parametric detector; **these are not
data or simulation of CMS or ATLAS**. They have the columns of the CMS Open Data NanoAOD
and of the tree ``mini`` of ATLAS Open Data that the tasks read, in their units, so that
every notebook runs without a network.

The chain: `recipes` (what Pythia generates for each sample), `generator` (a batch of
its events, and which of their particles matter), `z_decays` (a decay that Pythia
lacks), `leptons` and `jets` (what is reconstructed from them, as well as `detector`
says), `events` (what is kept), `files` (columns and files), `production` (many batches,
and what was made). ``python -m agc.standin`` makes the files that ship in
``notebooks/inputs``. Neither the notebooks nor other modules of `agc` import this one.

Notes
-----
Known differences from the AGC's inputs of both tasks: leading order with a parton
shower instead of next-to-leading order; no pile-up.

*ttbar.* No multiparton interactions; tW by a scalar (see `recipes`); W+jets above 20
GeV only. ``Muon_tightId`` works here. In the 200 real events of CMS Open Data that the
tests read it is false for all 41 muons, and the AGC's published yields look like those
of electrons alone: the stand-in selects twice (ttbar) to four times (single top,
s-channel) as many events per generated event.

*HZZ.* No Z+jets and no ttbar (one event in a million is selected, too few to simulate
here); in the pseudo-data, a parametrisation stands for their leptons that are not
prompt; no ZH; singly and doubly resonant four-lepton production without their
interference; no tau leptons; no hadrons, no isolation; all scale factors are one.
"""
