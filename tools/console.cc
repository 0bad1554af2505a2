#include "tools/console.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace millrace::tools {

Console Console::of_process() {
  Console console;
  console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  console.err_is_terminal = isatty(STDERR_FILENO) == 1;
  console.in_is_terminal = isatty(STDIN_FILENO) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool wanted =
      (no_colour == nullptr || *no_colour == '\0') && !(term != nullptr && std::string_view(term) == "dumb");
  console.colour_out = wanted && console.out_is_terminal;
  console.colour_err = wanted && console.err_is_terminal;
  return console;
}

void Console::write(std::string_view data) {
  if (std::fwrite(data.data(), 1, data.size(), out) != data.size() && write_error_ == 0) write_error_ = errno;
}

bool Console::flush() {
  if (std::fflush(out) != 0 && write_error_ == 0) write_error_ = errno;
  errno = write_error_;
  return write_error_ == 0;
}

void Console::note(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), err);
  std::fputc('\n', err);
  std::fflush(err);
}

void Console::complain(std::string_view command, std::string_view message) {
  std::string line = "millrace";
  if (!command.empty()) line.append(" ").append(command);
  line = styled(line + ":", Style::kRed, colour_err);
  line.append(" ").append(message);
  // Data already written comes first where both streams are the same terminal.
  std::fflush(out);
  note(line);
}

std::string styled(std::string_view text, Style style, bool colour) {
  if (!colour || style == Style::kPlain || text.empty()) return std::string(text);
  const char* code = "0";
  switch (style) {
    case Style::kPlain:
      break;
    case Style::kBold:
      code = "1";
      break;
    case Style::kDim:
      code = "2";
      break;
    case Style::kRed:
      code = "31";
      break;
    case Style::kGreen:
      code = "32";
      break;
    case Style::kYellow:
      code = "33";
      break;
  }
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace millrace::tools
