"""The simulated stand-in for the AGC ttbar inputs: generator, detector, files.

Simulated by the Casa project with Pythia 8 and a parametric detector; **these are not
CMS data and not CMS simulation**. They have the columns of the CMS Open Data NanoAOD
that the ttbar task reads, so that every notebook runs without a network.

The chain, one module each: `processes` (what Pythia generates for each sample),
`generator` (one batch of events), `particles` and `ancestry` (which particles matter),
`leptons` and `jets` (what is reconstructed from them), `detector`, `identification` and
`tagging` (how well), `genpart` (the truth), `events` (the skim), `nanoaod` and
`rootfile` (columns and files), `production` (many batches), `manifest` (what was made).
``python -m agc.simulation`` makes the files that ship in ``notebooks/inputs``.

Notes
-----
Known differences from the AGC's inputs: leading order with a parton shower instead of
next-to-leading order; no pile-up, no multiparton interactions; tW by a scalar (see
`processes`); W+jets above 20 GeV only. ``Muon_tightId`` works here. In the 200 real
events of CMS Open Data that the tests read it is false for all 41 muons, and the AGC's
published yields look like those of electrons alone: the stand-in selects twice (ttbar)
to four times (single top, s-channel) as many events per generated event.
"""
