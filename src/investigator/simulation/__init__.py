"""A fleet that is not there, on a broker that is: what a deployment of that size needs, from what this machine measured.

Simulated agents share a few connections and have no state but their keys, which follow from a number; what they put on the wire is
what real ones do: signed facts and heartbeats, and answers that passed the real gate, signed and sealed by each of them. A
simulation lives in a deployment of its own, never in a real one.
"""
