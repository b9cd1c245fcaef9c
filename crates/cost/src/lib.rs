//! What things would cost on AWS: a catalogue of prices with its date and source, and the arithmetic of
//! jobs, endpoints, functions and storage. Pure: no I/O, no clock.
