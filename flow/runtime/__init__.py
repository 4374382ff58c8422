"""Running graphs: topology, mailboxes, delivery, drain, summary, virtual time."""
