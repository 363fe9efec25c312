"""The contract as most engineers would write it first: an ORM, one commit and one LPUSH a request, one BRPOP a task."""
