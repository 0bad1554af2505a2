// The arguments of the benchmark's programs: a mode and pairs of --name value.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

namespace millrace::bench {

class Arguments {
 public:
  // argv from the first pair on. Throws std::runtime_error for anything but pairs.
  Arguments(int count, char** values) {
    for (int i = 0; i < count; i += 2) {
      const std::string name = values[i];
      if (!name.starts_with("--") || i + 1 == count)
        throw std::runtime_error("no pair of --name value: " + name);
      values_[name.substr(2)] = values[i + 1];
    }
  }

  std::string text(const std::string& name, const std::string& otherwise) {
    known_.insert(name);
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  std::string text(const std::string& name) {
    if (!values_.contains(name)) throw std::runtime_error("--" + name + " is missing");
    return text(name, "");
  }
  int64_t number(const std::string& name, int64_t otherwise) {
    known_.insert(name);
    return values_.contains(name) ? std::stoll(values_[name]) : otherwise;
  }
  // Throws for a name that nobody has asked for. After all have been read.
  void refuse_unknown() const {
    for (const auto& [name, value] : values_) {
      if (!known_.contains(name)) throw std::runtime_error("unknown option --" + name);
    }
  }

 private:
  std::map<std::string, std::string> values_;
  std::set<std::string> known_;
};

// A program's main: calls run(mode, arguments). What that throws is told on stderr, and 1 returned.
template <class F>
int run_mode(const char* program, const char* modes, F run, int argc, char** argv) {
  try {
    if (argc < 2) throw std::runtime_error(modes);
    run(argv[1], Arguments(argc - 2, argv + 2));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program, error.what());
    return 1;
  }
}

}  // namespace millrace::bench
