"""Random cases against everything that checks: arrays, files, tables, threads, forks, interrupts, disks."""
