#!/bin/sh
# IWSLT'14 German-English as the original's pre-process/iwslt14de-en.sh makes it: 10,000 merges, lower case, each 23rd pair
# of the talks is valid, dev2010 to tst2012 are test. About 160,000 training pairs. --archives DIR takes what you have.
exec sh "$(dirname "$0")/translation_corpus.sh" iwslt14_de_en de en "$@"
