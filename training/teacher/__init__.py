"""External teachers: any picture classifier whose answers a stage imitates, and how to train one."""
