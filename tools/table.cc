#include "tools/table.h"

#include <algorithm>

#include "tools/console.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

// A longer cell doesn't widen its column: one huge name would pad every line.
constexpr size_t kWidestColumn = 120;

}  // namespace

Table::Table(std::vector<std::string> columns) : columns_(std::move(columns)) {
  for (std::string& name : columns_) {
    right_.push_back(name.starts_with('>'));
    if (right_.back()) name.erase(0, 1);
  }
}

void Table::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = visible(cell);
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::render(bool colour) const {
  std::vector<size_t> widths;
  for (const std::string& name : columns_) widths.push_back(display_width(name));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t width = display_width(row[i]);
      if (width <= kWidestColumn) widths[i] = std::max(widths[i], width);
    }
  }
  const auto line = [&](const std::vector<std::string>& cells, Style style) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string gap(widths[i] - std::min(widths[i], display_width(cells[i])), ' ');
      if (i > 0) text += "  ";
      text += right_[i] ? gap + cells[i] : cells[i] + gap;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return styled(text, style, colour) + "\n";
  };
  std::string text = line(columns_, Style::kBold);
  for (const auto& row : rows_) text += line(row, Style::kPlain);
  return text;
}

}  // namespace millrace::tools
