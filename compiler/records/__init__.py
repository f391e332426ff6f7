"""What was found by measuring: records of schedules and variants, and what they make small."""
