"""Training one network: trunk, rungs, cooldowns, and the device it runs on."""
