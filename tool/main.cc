// The `ferry` command.
#include "cli.h"
#include "signals.h"

int main(int argc, char** argv) {
  ferry::tool::install_signal_handlers();
  ferry::tool::Cli cli;
  ferry::tool::add_doctor(cli);
  ferry::tool::add_fetch(cli);
  ferry::tool::add_export(cli);
  ferry::tool::add_quantize(cli);
  ferry::tool::add_build(cli);
  ferry::tool::add_infer(cli);
  ferry::tool::add_classify(cli);
  ferry::tool::add_bench(cli);
  ferry::tool::add_compare(cli);
  ferry::tool::add_eval(cli);
  ferry::tool::add_tune(cli);
  ferry::tool::add_report(cli);
  ferry::tool::add_inspect(cli);
  return cli.run(argc, argv);
}
