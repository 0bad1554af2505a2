#include "tools/confirm.h"

#include <fmt/format.h>

#include <iostream>
#include <string>

namespace millrace::tools {

bool confirm(Console& console, std::string_view text) {
  fmt::print(console.err, "{}Type yes to go on: ", text);
  std::fflush(console.err);
  std::string answer;
  return std::getline(std::cin, answer) && answer == "yes";
}

}  // namespace millrace::tools
