"""A teacher from outside: any picture classifier whose answers a stage imitates, and how one is made."""
