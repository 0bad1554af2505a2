// Runs a command line inside of a test, with what it wrote.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "tools/command_line.h"

namespace millrace::tools::test {

struct Run {
  int code = 0;
  std::string out;
  std::string err;
};

inline Run run(std::span<const Command> commands, const std::vector<std::string>& words) {
  std::vector<const char*> arguments = {"millrace"};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  Run result;
  char* out = nullptr;
  char* err = nullptr;
  size_t out_size = 0;
  size_t err_size = 0;
  Console console;
  console.out = open_memstream(&out, &out_size);
  console.err = open_memstream(&err, &err_size);
  result.code = run_command_line(commands, static_cast<int>(arguments.size()), arguments.data(), console);
  std::fclose(console.out);
  std::fclose(console.err);
  result.out.assign(out, out_size);
  result.err.assign(err, err_size);
  std::free(out);
  std::free(err);
  return result;
}

}  // namespace millrace::tools::test
