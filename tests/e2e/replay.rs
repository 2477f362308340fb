//! A small chain's days, made up from a seed, played through the whole system: late, doubled and shuffled journals change no final figure, and an
//! oracle that shares no code with settlement agrees with it.
