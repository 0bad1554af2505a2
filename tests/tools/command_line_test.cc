#include "tools/command_line.h"

#include <catch2/catch.hpp>

#include "command_line_run.h"
#include "tools/completion.h"
#include "tools/help.h"

using namespace millrace::tools;
using millrace::tools::test::Run;

namespace {

Arguments seen;

std::vector<Command> table() {
  const auto keep = [](const Arguments& arguments, Console&) {
    seen = arguments;
    return kExitDone;
  };
  std::vector<Command> commands = {
      {.path = "fruit", .summary = "About fruit"},
      {.path = "fruit eat",
       .summary = "Eat it",
       .details = "Wash it before.",
       .options = {{.names = "name",
                    .aliases = "--name",
                    .value = "NAME",
                    .help = "Which",
                    .positional = true,
                    .required = true},
                   {.names = "-c,--count",
                    .aliases = "--max-bites",
                    .value = "N",
                    .help = "How often",
                    .fallback = "1",
                    .check = integer(0, 9)},
                   {.names = "-f,--fast", .help = "In haste"},
                   {.names = "-o,--offset", .value = "N", .help = "From where"},
                   {.names = "-s,--set",
                    .value = "A=B",
                    .help = "Settings",
                    .check = assignment(),
                    .repeatable = true},
                   {.names = "--kind",
                    .value = "KIND",
                    .help = "Of which kind",
                    .environment = "MILLRACE_TEST_KIND",
                    .choices = {"sweet", "sour"}}},
       .run = keep},
      {.path = "fail", .summary = "Fails", .run = [](const Arguments&, Console& console) {
         console.complain("fail", "as it must");
         return kExitFailed;
       }}};
  add_completion_command(commands);
  return commands;
}

Run run(const std::vector<std::string>& words) {
  seen = {};
  return test::run(table(), words);
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("what can't be written is a failure") {
  const std::vector<Command> commands = {{.path = "say",
                                          .summary = "Says little",
                                          .run =
                                              [](const Arguments&, Console& console) {
                                                console.write("little\n");
                                                return kExitDone;
                                              }},
                                         {.path = "pour",
                                          .summary = "Says more than is buffered",
                                          .run = [](const Arguments&, Console& console) {
                                            console.write(std::string(1 << 20, 'x'));
                                            return kExitDone;
                                          }}};
  for (const char* word : {"say", "pour", "--help", "--version"}) {
    CAPTURE(word);
    const char* const arguments[] = {"millrace", word};
    char* err = nullptr;
    size_t err_size = 0;
    Console console;
    console.out = std::fopen("/dev/full", "w");
    console.err = open_memstream(&err, &err_size);
    CHECK(run_command_line(commands, 2, arguments, console) == kExitFailed);
    std::fclose(console.out);
    std::fclose(console.err);
    CHECK(contains(err, "standard output: No space left on device"));
    std::free(err);
  }
}

TEST_CASE("an option without its value says so") {
  CHECK(contains(run({"fruit", "eat", "apple", "--count"}).err, "--count needs a value: N"));
  CHECK(contains(run({"fruit", "eat", "apple", "-o"}).err, "--offset needs a value: N"));
}

TEST_CASE("options reach the command") {
  CHECK(
      run({"fruit", "eat", "apple", "-c", "3", "--fast", "-s", "a=1", "--set", "b=2=3", "-o", "-10"}).code ==
      kExitDone);
  CHECK(seen.text("name") == "apple");
  CHECK(seen.integer("count") == 3);
  CHECK(seen.has("fast"));
  CHECK(seen.all("set") == std::vector<std::string>{"a=1", "b=2=3"});
  CHECK(seen.text("offset") == "-10");
}

TEST_CASE("Kafka's names mean the same") {
  CHECK(run({"fruit", "eat", "--name", "apple", "--max-bites", "4"}).code == kExitDone);
  CHECK(seen.text("name") == "apple");
  CHECK(seen.integer("count") == 4);
}

TEST_CASE("fallbacks and the environment") {
  CHECK(run({"fruit", "eat", "apple"}).code == kExitDone);
  CHECK(seen.integer("count") == 1);
  CHECK_FALSE(seen.has("fast"));
  CHECK_FALSE(seen.has("kind"));
  setenv("MILLRACE_TEST_KIND", "sour", 1);
  CHECK(run({"fruit", "eat", "apple"}).code == kExitDone);
  CHECK(seen.text("kind") == "sour");
  CHECK(run({"fruit", "eat", "apple", "--kind", "sweet"}).code == kExitDone);
  CHECK(seen.text("kind") == "sweet");
  unsetenv("MILLRACE_TEST_KIND");
}

TEST_CASE("usage errors say what was probably meant, and exit with 2") {
  const auto expect = [](std::vector<std::string> arguments, std::string_view words) {
    const Run result = run(std::move(arguments));
    INFO(result.err);
    CHECK(result.code == kExitUsage);
    CHECK(result.out.empty());
    CHECK(contains(result.err, words));
  };
  expect({"friut"}, "no command \"friut\"; did you mean fruit?");
  expect({"fruit", "eta"}, "no command \"fruit eta\"; did you mean eat?");
  expect({"fruit", "eat", "apple", "--fsat"}, "no option --fsat; did you mean --fast?");
  expect({"fruit", "eat", "apple", "--fsat=3"}, "no option --fsat; did you mean --fast?");
  expect({"fruit", "eat", "apple", "pear"}, "unexpected argument \"pear\"");
  expect({"fruit", "eat"}, "NAME is missing");
  expect({"fruit", "eat", "apple", "-c", "x"}, "--count: \"x\" is not a whole number");
  expect({"fruit", "eat", "apple", "-c", "10"}, "--count: 10 is not between 0 and 9");
  expect({"fruit", "eat", "apple", "-s", "x"}, "--set: \"x\" is not of the form NAME=VALUE");
  expect({"fruit", "eat", "apple", "--kind", "bitter"}, "--kind: \"bitter\" is none of sweet, sour");
  expect({"fruit", "eat", "apple", "-c"}, "--count");
  expect({"fruit"}, "fruit eat");
  expect({}, "Commands:");
}

TEST_CASE("a mistyped word is named, whatever follows it") {
  const auto error = [](std::vector<std::string> arguments) {
    const Run result = run(std::move(arguments));
    CHECK(result.code == kExitUsage);
    return result.err.substr(0, result.err.find('\n'));
  };
  CHECK(error({"friut", "x"}) == "millrace: no command \"friut\"; did you mean fruit?");
  CHECK(error({"friut", "eat", "-c", "3"}) == "millrace: no command \"friut\"; did you mean fruit?");
  CHECK(error({"fruit", "eta", "x", "y"}) == "millrace: no command \"fruit eta\"; did you mean eat?");
  const std::string offset = "millrace fruit eat: no option --offet; did you mean --offset?";
  CHECK(error({"fruit", "eat", "apple", "--offet", "3"}) == offset);
  CHECK(error({"fruit", "eat", "--offet", "3", "apple"}) == offset);
  CHECK(error({"fruit", "eat", "apple", "--offet", "3", "-f", "--fsat"}) == offset);
  CHECK(error({"fruit", "eat", "apple", "pear", "--offet", "3"}) ==
        "millrace fruit eat: unexpected argument \"pear\"");
  CHECK(error({"fruit", "eat", "apple", "--", "two words"}) ==
        "millrace fruit eat: unexpected argument \"two words\"");
  // What the option should have given is missing, or its value was taken for an argument.
  CHECK(error({"fruit", "eat", "--offet"}) == offset);
  CHECK(error({"fruit", "eat", "apple", "--offet", "-c", "x"}) == offset);
  CHECK(error({"--hepl"}) == "millrace: no option --hepl; did you mean --help?");
  CHECK(error({"--verison", "x"}) == "millrace: no option --verison; did you mean --version?");
}

TEST_CASE("the real table's typing errors") {
  const std::vector<Command> commands = tools_commands();
  const auto error = [&](const std::vector<std::string>& words) {
    const Run result = test::run(commands, words);
    CHECK(result.code == kExitUsage);
    return result.err.substr(0, result.err.find('\n'));
  };
  CHECK(error({"consum", "x"}) == "millrace: no command \"consum\"; did you mean consume?");
  CHECK(error({"consume", "greetings", "--offet", "3"}) ==
        "millrace consume: no option --offet; did you mean --offset?");
  CHECK(error({"topic", "list", "--bootsrap-server", "x"}) ==
        "millrace topic list: no option --bootsrap-server; did you mean --bootstrap-server?");
  CHECK(error({"topic", "trim", "t", "--befor", "5"}) ==
        "millrace topic trim: no option --befor; did you mean --before?");
  CHECK(error({"topic", "list", "--json"}) ==
        "millrace topic list: no option --json; did you mean --output json?");
}

TEST_CASE("help offers ranges where they are taken, and only there") {
  const std::vector<Command> commands = tools_commands();
  for (const Command& command : commands) {
    for (const Option& option : command.options) {
      if (option.value != "POSITION") continue;
      INFO(command.path);
      const bool takes_range = !option.check("1:2");
      CHECK(contains(help_text(commands, command.path, false), "FROM:TO") == takes_range);
    }
  }
}

TEST_CASE("bench takes the number of records as -n too") {
  const std::vector<Command> commands = tools_commands();
  for (const Command& command : commands) {
    if (!command.path.starts_with("bench ")) continue;
    INFO(command.path);
    int found = 0;
    for (const Option& option : command.options) {
      for (const std::string& spelling : option.spellings()) {
        if (spelling != "-n" && spelling != "-c" && spelling != "--count") continue;
        CHECK(option.key() == "count");
        ++found;
      }
    }
    CHECK(found == 3);
  }
}

TEST_CASE("a command's failure is 1") {
  const Run result = run({"fail"});
  CHECK(result.code == kExitFailed);
  CHECK(result.err == "millrace fail: as it must\n");
}

TEST_CASE("help goes to stdout") {
  const Run all = run({"--help"});
  CHECK(all.code == kExitDone);
  CHECK(contains(all.out, "fruit eat"));
  const Run one = run({"fruit", "eat", "-h"});
  CHECK(one.code == kExitDone);
  CHECK(contains(one.out, "Usage: millrace fruit eat NAME [options]"));
  CHECK(contains(one.out, "How often [1] (Kafka: --max-bites)"));
  CHECK(contains(one.out, "Of which kind (sweet|sour) [env MILLRACE_TEST_KIND]"));
  CHECK(contains(one.out, "Wash it before."));
  CHECK(contains(run({"--version"}).out, "millrace "));
}

TEST_CASE("every option of every command is in its help and in the completions") {
  std::vector<Command> commands = tools_commands();
  add_completion_command(commands);
  const std::string bash = bash_completion(commands);
  const std::string zsh = zsh_completion(commands);
  const std::string fish = fish_completion(commands);
  for (const Command& command : commands) {
    INFO(command.path);
    CHECK_FALSE(command.summary.empty());
    if (!command.run) continue;
    const std::string page = help_text(commands, command.path, false);
    CHECK(contains(bash, "'" + command.path + "'"));
    CHECK(contains(zsh, "'" + command.path + "'"));
    CHECK(contains(fish, "'" + command.path + "'"));
    for (const Option& option : command.options) {
      INFO(option.names);
      CHECK_FALSE(option.help.empty());
      for (const std::string& spelling : option.spellings()) {
        CHECK(contains(page, spelling));
        if (option.positional) continue;
        CHECK(contains(bash, spelling));
        CHECK(contains(zsh, spelling));
        CHECK(contains(fish, spelling.substr(spelling.find_first_not_of('-'))));
      }
    }
  }
}
