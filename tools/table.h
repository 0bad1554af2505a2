// Tables for people: aligned columns, a bold head on a terminal, nothing but text in a pipe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::tools {

class Table {
 public:
  // A column whose name starts with '>' is aligned to the right (numbers).
  explicit Table(std::vector<std::string> columns);
  // Takes one cell per column. Names may have any bytes: what would break the line or move the terminal's
  // cursor is shown as "\xNN". A cell that is longer than columns should be moves the rest of its own line
  // only.
  void add(std::vector<std::string> cells);
  std::string render(bool colour) const;
  bool empty() const { return rows_.empty(); }

 private:
  std::vector<std::string> columns_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace millrace::tools
