// Where a command writes: data to `out`, everything meant for a person's eye (progress, notes, errors) to
// `err`.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace millrace::tools {

enum class Style { kPlain, kBold, kDim, kRed, kGreen, kYellow };

struct Console {
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool in_is_terminal = false;
  // Escape sequences on `out` and on `err`; both off in a pipe, and with NO_COLOR set.
  bool colour_out = false;
  bool colour_err = false;

  // The process's own streams, with what the environment says about colour.
  static Console of_process();

  void write(std::string_view data);
  // Whether all that was written since the start has arrived; `errno` says why not.
  bool flush();
  // One line on `err`, as it is.
  void note(std::string_view line);
  // One line on `err` that says what failed; `command` is the command's path, e.g. "topic create".
  void complain(std::string_view command, std::string_view message);

 private:
  int write_error_ = 0;  // the first, as errno
};

// The text with the escape sequences of the style, or as it is when colour is off.
std::string styled(std::string_view text, Style style, bool colour);

}  // namespace millrace::tools
