// What the commands that delete and describe topics and groups by name have in common.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/client/cluster.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/json.h"

namespace millrace::tools {

struct DeletionResult {
  std::string name;
  Result<void> result;   // the message says what to do
  bool missing = false;  // it isn't there, which --if-exists lets pass
};

// One kind of thing that can be deleted.
struct Deletion {
  std::string_view noun;  // "topic"
  // All that --match may choose from.
  std::function<Result<std::vector<std::string>>(Cluster&)> list;
  // What goes with one of them, and with several: "all records in it".
  std::string_view loss_of_one;
  std::string_view loss_of_many;
  // In the order that they are reported in. Fails when nothing could be tried.
  std::function<Result<std::vector<DeletionResult>>(Cluster&, const std::vector<std::string>&)> remove;
};

// Deletes the names in the argument NOUN and those that --match chooses, after a question on a terminal;
// returns the exit code. Options: --match, --if-exists, --yes, --output.
int delete_by_name(const Deletion& deletion, const Arguments& arguments, Console& console);

// What --output asks for of one thing.
struct Described {
  Json json;
  std::string text;
};

// Shows every name in the argument NOUN, one after the other, as text or as one JSON list; what `describe`
// fails with is told, and the rest shown all the same. Returns the exit code.
int describe_by_name(std::string_view noun, const Arguments& arguments, Console& console,
                     const std::function<Result<Described>(Cluster&, const std::string&)>& describe);

}  // namespace millrace::tools
