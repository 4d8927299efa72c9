"""Every verb, once, free of I/O: what is sent and how the reply is read. Drivers in ``store`` do the sending."""
