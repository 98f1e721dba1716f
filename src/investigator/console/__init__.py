"""The investigator's side: what is asked, how it goes out, what comes back and how it is shown.

Start reading in `dispatch` (stages 1 to 3), then `collect` and `render` (stage 7). Nothing here imports the agent.
"""
