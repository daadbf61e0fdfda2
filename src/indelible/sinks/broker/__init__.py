"""What the Kafka sink is made of: the client and its configuration, what is under way, and what went wrong."""
