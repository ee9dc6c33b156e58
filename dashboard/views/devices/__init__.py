"""The devices page: canaries, clocks, temperature and environment of one device."""
