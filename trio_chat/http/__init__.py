"""HTTP: reading the head of a request, and answering it with the page or what operators ask."""
