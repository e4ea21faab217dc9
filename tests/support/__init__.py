"""What several rooms' tests share; see each module."""
