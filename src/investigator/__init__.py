"""Ask thousands of hosts one question, and have every answer seconds later.

The story of one action is the order in which to read this package:

1. Written.  An investigator writes an action: a target, a validity window, operations.
   `protocol.action` is its shape; `modules` says what an operation may ask; `cli.request` takes it
   from the command line, `console.action_file` from a file.
2. Signed.   `pgp.signer` signs its exact bytes; `protocol.envelope` carries bytes and signatures.
3. Routed.   `console.condition` compiles the target's SQL to the nodes of `protocol.target`;
   `protocol.subjects` names where it goes; `console.dispatch` publishes it over `broker`.
4. Admitted. `agent.service` hears it and `agent.actions` takes it through the one gate,
   `protocol.admission`, with `pgp.keyring` for the signatures and `protocol.acl` for the weights.
5. Run.      `agent.runner` has each operation run by `agent.worker`, forked from
   `agent.forkserver`, under `agent.limits`.
6. Answered. `protocol.result` is what came of it; `protocol.answer` puts it on the wire, signed by
   `protocol.identity`, sealed by `protocol.sealing`; `agent.outbox` keeps it until the stream has it.
7. Tallied.  `console.collect` opens what comes back, `protocol.tally` folds it until every
   targeted agent is in one state, `console.render` shows it; `console.investigation` leads 3 to 7.
"""

__version__ = "0.1.0"
