// For executables that link instrumented libraries but aren't fuzzers (the fuzz preset builds them too).
extern "C" void __sanitizer_cov_trace_pc() {}
